"""Each reader of strangers' bytes: whatever it gets, it reads it or raises an error of segzoo's own, and starts nothing."""

import pytest
from harness import Target, attempt, changed, targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = 150


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.reader)
def test_a_reader_reads_or_refuses(target: Target):
    seeds = target.seeds()
    for seed in seeds:
        assert attempt(target, seed), f"{target.reader}: a good input was refused"

    @settings(max_examples=int(EXAMPLES * target.share), derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def run(data):
        attempt(target, data.draw(changed(seeds)))

    run()
