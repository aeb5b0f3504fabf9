"""A script as timm's `train.py` goes about it: functions, an average of the weights that is
evaluated, a schedule per update, clipped gradients, a checkpoint of the best epoch."""

import argparse
import copy
import math

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width: int, act_layer: type[nn.Module]) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(width), act_layer()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(self.act(self.norm(x)))


class ModelEma(nn.Module):
    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.module, self.decay = copy.deepcopy(model).eval(), decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        for mean, value in zip(
            self.module.state_dict().values(), model.state_dict().values(), strict=True
        ):
            if value.is_floating_point():
                mean.lerp_(value, 1 - self.decay)
            else:
                mean.copy_(value)


class CosineScheduler:
    def __init__(self, optimizer: torch.optim.Optimizer, updates: int) -> None:
        self.optimizer, self.updates = optimizer, updates
        self.base = [group["lr"] for group in optimizer.param_groups]

    def step_update(self, update: int) -> None:
        factor = 0.5 * (1 + math.cos(math.pi * update / self.updates))
        for group, base in zip(self.optimizer.param_groups, self.base, strict=True):
            group["lr"] = base * factor

    def state_dict(self) -> dict[str, object]:
        return {"base": self.base}

    def load_state_dict(self, state_dict: dict[str, list[float]]) -> None:
        self.base = state_dict["base"]


def create_model(act_layer: type[nn.Module] = nn.SiLU) -> nn.Module:
    stem = nn.Conv2d(1, 16, 3, padding=1, bias=False)
    blocks = [Block(16, act_layer) for _ in range(2)]
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def train_one_epoch(epoch, model, loader, optimizer, scheduler, model_ema):
    model.train()
    for index, (images, labels) in enumerate(loader):
        loss = F.cross_entropy(model(images), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model_ema.update(model)
        scheduler.step_update(epoch * len(loader) + index + 1)


@torch.no_grad()
def validate(model, images, labels):
    model.eval()
    return (model(images).argmax(1) == labels).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    x, y = (torch.tensor(array) for array in load_digits(return_X_y=True))
    x = x.float().div(16).view(-1, 1, 8, 8)
    dataset = torch.utils.data.TensorDataset(x[:1400], y[:1400])
    loader = torch.utils.data.DataLoader(dataset, batch_size=100, shuffle=True)
    torch.manual_seed(0)
    model = create_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-4)
    model_ema = ModelEma(model, decay=0.9)
    scheduler = CosineScheduler(optimizer, args.epochs * len(loader))
    for epoch in range(args.epochs):
        train_one_epoch(epoch, model, loader, optimizer, scheduler, model_ema)
        accuracy = validate(model_ema.module, x[1400:], y[1400:])
        print(f"epoch {epoch}: accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
