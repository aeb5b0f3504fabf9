"""A script for accelerate: gradients of two batches make a step, AdamW, one-cycle schedule."""

import argparse

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

import actsearch

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=10)
arguments = parser.parse_args()
x, y = (torch.tensor(array) for array in load_digits(return_X_y=True))
x = x.float() / 16
train = torch.utils.data.TensorDataset(x[:1400], y[:1400])
loader = torch.utils.data.DataLoader(train, batch_size=50, shuffle=True, drop_last=True)

torch.manual_seed(0)
with actsearch.trial() as t:
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    layers = nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10)
    model = nn.Sequential(*layers)
    model = t.apply(model, x[:8])
    groups = t.parameter_groups(model, lr=1e-2, weight_decay=0.01)
    optimizer = torch.optim.AdamW(groups)
    rates = [group["lr"] for group in groups]
    scheduler = OneCycleLR(optimizer, rates, arguments.epochs * len(loader))
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
    for epoch in t.epochs(arguments.epochs, model, optimizer, scheduler):
        model.train()
        for images, labels in loader:
            with accelerator.accumulate(model):
                accelerator.backward(F.cross_entropy(model(images), labels))
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            outputs = accelerator.gather_for_metrics(model(x[1400:]))
        accuracy = (outputs.argmax(1) == y[1400:]).float().mean().item()
        accelerator.print(f"epoch {epoch}: accuracy {accuracy:.4f}")
        t.report(epoch, validation_accuracy=accuracy)
