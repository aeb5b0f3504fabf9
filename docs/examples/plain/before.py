"""A plain PyTorch script: handwritten digits, a small network, SGD, cosine schedule."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=10)
arguments = parser.parse_args()
x, y = (torch.tensor(array) for array in load_digits(return_X_y=True))
x = x.float().div(16).view(-1, 1, 8, 8)
train = torch.utils.data.TensorDataset(x[:1400], y[:1400])
loader = torch.utils.data.DataLoader(train, batch_size=100, shuffle=True, drop_last=True)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv2, self.head = nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.conv1(x)))
        return self.head(F.relu(self.conv2(x)).mean((2, 3)))


torch.manual_seed(0)
model = Network()
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9, weight_decay=5e-4)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.epochs)
for epoch in range(arguments.epochs):
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    scheduler.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(x[1400:]).argmax(1) == y[1400:]).float().mean().item()
    print(f"epoch {epoch}: accuracy {accuracy:.4f}")
