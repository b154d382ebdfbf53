"""From a file of weights to a segmented image and a measured mIoU, on the embedded mini zoo: offline, on a CPU, in seconds.

`python examples/quickstart.py` says what it did, and leaves two files in quickstart/. With another zoo and other names the
same calls do the same.
"""

from pathlib import Path

import torch
from PIL import Image

import segzoo
from segzoo.datasets.decode import read_image
from segzoo.manifest.document import packaged

ZOO = "mini"
OUTPUT = Path("quickstart")
IMAGE = packaged("mini/ade_mini") / "images" / "validation" / "ADE_val_00000001.jpg"
CLASSES = ("sky", "grass", "sand", "disc", "box", "triangle", "ring", "stripes")


def main() -> None:
    source = segzoo.fetch("mini-vit", zoo=ZOO)  # held to its hash
    print(f"fetched mini.tame.npz, {source.stat().st_size:,} bytes")

    OUTPUT.mkdir(exist_ok=True)
    report = segzoo.convert(source, OUTPUT / "vit.safetensors", to="timm", force=True)  # read back and compared before it appears
    print(f"converted to {report.target_layout}: {report.written} tensors, {report.made}")

    model = segzoo.load("mini-mask", zoo=ZOO)  # an ordinary torch module
    pixels = torch.from_numpy(read_image(IMAGE)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        labels = model((pixels - 127.5) / 127.5).argmax(1)[0]
    shares = torch.bincount(labels.flatten(), minlength=len(CLASSES)) / labels.numel()
    found = ", ".join(f"{CLASSES[index]} {100 * shares[index]:.0f} %" for index in shares.argsort(descending=True)[:3])
    print(f"predicted {IMAGE.name}: {found}")
    Image.fromarray(labels.to(torch.uint8).numpy()).save(OUTPUT / "labels.png")

    facts = segzoo.evaluate("mini-mask", images=10, zoo=ZOO)  # the whole protocol, with windows
    figures = facts["modes"]["ss"]
    mean = figures["measured"]["mIoU"]
    print(f"evaluated {facts['images']} of {facts['of']} images: mIoU {mean:.2f}, reported {figures['reported']}: {figures['verdict']}")


if __name__ == "__main__":
    main()
