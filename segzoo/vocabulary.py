"""Every closed set of words that segzoo has, once. It imports nothing, so that `--help` can show them."""

RUNGS = ("bytes", "names", "round trip", "numbers", "mIoU")
"""The ladder of evidence, from the ground up."""

STATUSES = ("passed", "failed", "skipped", "n/a")
"""What can come of a rung."""

VERDICTS = ("confirmed", "refuted", "consistent", "inconsistent", "undecided")
"""What counts may say of a reported mIoU."""

MODES = ("ss", "ms+flip", "ms+flip-1.x", "whole", "ss-32", "ms+flip-32")
"""How an image is evaluated: single scale, the two forms of multi-scale and flip, in one piece, or with sides that are multiples of 32."""

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
"""What a network computes in."""

DTYPES = ("float32", "float16", "bfloat16")
"""What the tensors of a file that a manifest names may be in."""

WEIGHTS = (".npz", ".pth", ".pt", ".safetensors", ".msgpack")
"""How the names of files of weights end."""

IMAGES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".jp2", ".ppm", ".pgm", ".avif", ".heic", ".heif")
"""How the names of images end that `predict` looks for in a folder."""

RESAMPLINGS = ("mmseg", "timm", "jax", "antialias")
"""Whose way of resampling position embeddings is followed."""

FORMS = ("safetensors", "hf", "timm", "onnx")
"""What `export` writes."""

PROGRAMS = ("mmseg", "rstrudel")
"""Whose evaluation a protocol follows."""

SERVERS = ("ade20k", "cityscapes")
"""Benchmarks whose servers take label maps that `predict --as` writes."""

RELEASED = ("finetuned", "pretrained")
"""The kinds of files in the AugReg release."""

KEEP = ("converted", "source", "none")
"""What a run keeps of each file."""

NUMBERS = ("kind", "all", "none")
"""For which files of a run the numbers rung is climbed: once for each kind of file, for all, for none."""

RECEIPT = "segzoo-receipt/3"
"""The schema of a receipt."""

LARGEST_RECEIPT = 1 << 26
"""Bytes of a receipt. The largest of ADE20K has 58 MB: four modes, 2,000 images, and all of the 150 classes in each."""
