"""Writes a small ViT in the wrappings of training programs: `python peers.py FOLDER`.

torch 2.13.0 CPU, timm 1.0.31, lightning 2.6.6, accelerate 1.15.0, ema-pytorch 0.8.3.
"""

import copy
import sys
from pathlib import Path

import torch

library = torch.library.Library("torchvision", "DEF")  # torchvision from PyPI beside a CPU torch
for operator in ("nms", "qnms"):
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import lightning.pytorch as pl  # noqa: E402
import timm  # noqa: E402
from accelerate import Accelerator  # noqa: E402
from ema_pytorch import EMA  # noqa: E402
from lightning.pytorch.callbacks import EMAWeightAveraging  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch.optim.swa_utils import AveragedModel  # noqa: E402

FOLDER = Path(sys.argv[1])
torch.manual_seed(0)
BASE = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=4, depth=2, num_heads=2, mlp_ratio=1, num_classes=2).eval()
OTHER = copy.deepcopy(BASE)
with torch.no_grad():
    for one in OTHER.parameters():
        one.add_(1)


class Module(pl.LightningModule):
    """As people write one: the model under a name, a loss beside it."""

    def __init__(self):
        super().__init__()
        self.model, self.criterion = copy.deepcopy(BASE), torch.nn.CrossEntropyLoss(weight=torch.ones(2))

    def training_step(self, batch, index):
        return self.criterion(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)  # so that the weights stay those of the base


def lightning(name, callbacks):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=callbacks, **quiet)
    trainer.fit(Module(), torch.utils.data.DataLoader([(torch.zeros(3, 16, 16), 0)] * 2))
    trainer.save_checkpoint(FOLDER / name)


save_file(BASE.state_dict(), FOLDER / "base.safetensors")
save_file(OTHER.state_dict(), FOLDER / "other.safetensors")
lightning("lightning.ckpt", [])
lightning("lightning_averaged.ckpt", [EMAWeightAveraging()])
torch.save(AveragedModel(BASE).state_dict(), FOLDER / "averaged.pth")
torch.save(torch.compile(BASE).state_dict(), FOLDER / "compiled.pth")
torch.save({"model": OTHER.state_dict(), "model_ema": torch.compile(BASE).state_dict()}, FOLDER / "compiled_beside.pth")
ema = EMA(OTHER)
ema.ema_model.load_state_dict(BASE.state_dict())
torch.save(ema.state_dict(), FOLDER / "ema_pytorch.pth")
for name, models in {"accelerate": [BASE], "accelerate_two": [OTHER, BASE]}.items():
    accelerator = Accelerator(cpu=True)
    for model in models:
        accelerator.prepare(copy.deepcopy(model), torch.optim.SGD(model.parameters(), lr=0.1))
    accelerator.save_state(str(FOLDER / name))
for random in FOLDER.rglob("random_states*"):
    random.unlink()
