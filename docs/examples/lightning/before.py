"""A script for Lightning: its module, its trainer, a validation and a schedule every epoch."""

import argparse

import torch
from lightning import pytorch as lightning
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=10)
arguments = parser.parse_args()
x, y = (torch.tensor(array) for array in load_digits(return_X_y=True))
x = x.float() / 16
train, validation = TensorDataset(x[:1400], y[:1400]), TensorDataset(x[1400:], y[1400:])


class Digits(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        layers = nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def on_train_epoch_end(self) -> None:
        accuracy = self.trainer.callback_metrics["accuracy"].item()
        print(f"epoch {self.current_epoch}: accuracy {accuracy:.4f}")

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.2, momentum=0.9, weight_decay=5e-4)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)]


lightning.seed_everything(0)
model = Digits()
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
trainer = lightning.Trainer(max_epochs=arguments.epochs, accelerator="cpu", **quiet)
loader = DataLoader(train, batch_size=100, shuffle=True, drop_last=True)
trainer.fit(model, loader, DataLoader(validation, batch_size=len(validation)))
