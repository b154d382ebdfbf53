"""From a file of weights to a segmented image and a measured mIoU, on the embedded mini zoo: offline, on a CPU, in seconds.

`python examples/quickstart.py` says what it did, and leaves two files in quickstart/. With another zoo and other names the
same calls do the same.
"""

from pathlib import Path

from PIL import Image

import segzoo
from segzoo.manifest.document import packaged

ZOO = "mini"
OUTPUT = Path("quickstart")
IMAGE = packaged("mini/ade_mini") / "images" / "validation" / "ADE_val_00000001.jpg"


def main() -> None:
    source = segzoo.fetch("mini-vit", zoo=ZOO)  # held to its hash
    print(f"fetched mini.tame.npz, {source.stat().st_size:,} bytes")

    OUTPUT.mkdir(exist_ok=True)
    report = segzoo.convert(source, OUTPUT / "vit.safetensors", to="timm", force=True)  # read back and compared before it appears
    print(f"converted to {report.target_layout}: {report.written} tensors, {report.made}")

    model = segzoo.load("mini-mask", zoo=ZOO)  # a torch module that knows its protocol and its classes
    seen = segzoo.predict(model, IMAGE)
    found = ", ".join(f"{name} {share:.0f} %" for name, share in list(seen.shares.items())[:3])
    print(f"predicted {IMAGE.name}: {found}")
    Image.fromarray(seen.labels).save(OUTPUT / "labels.png")

    facts = segzoo.evaluate("mini-mask", images=10, zoo=ZOO)  # the whole protocol, with windows
    figures = facts["modes"]["ss"]
    mean = figures["measured"]["mIoU"]
    print(f"evaluated {facts['images']} of {facts['of']} images: mIoU {mean:.2f}, reported {figures['reported']}: {figures['verdict']}")


if __name__ == "__main__":
    main()
