"""DINOv2's vision transformer: Oquab et al. 2023, "DINOv2: Learning robust visual features without supervision".

In: normalised pictures (B, 3, H, W), both sides multiples of 14, and the published weights. Out: the class token's features
(B, D) after the last norm. Width, depth and the grid that positions were learned on follow from the weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 14
HEAD_WIDTH = 64
POSITION_OFFSET = 0.1  # the published code stretches the grid of positions by (n + 0.1) / m, and so must we


class Block(nn.Module):
    """Attention and a two-layer network, each behind a norm, scaled, and added to what came in."""

    def __init__(self, width: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width)
        self.ls1 = Scale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Perceptron(width)
        self.ls2 = Scale(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))  # (B, T, D)
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))  # (B, T, D)


class Attention(nn.Module):
    """Self-attention with heads of 64."""

    def __init__(self, width: int):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, width = tokens.shape
        parts = self.qkv(tokens).view(batch, length, 3, width // HEAD_WIDTH, HEAD_WIDTH)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # (B, heads, T, 64) each
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, width))  # (B, T, D)


class Perceptron(nn.Module):
    """Two layers, four times as wide between, with GELU."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(tokens)))  # (B, T, D)


class Scale(nn.Module):
    """One learned factor a channel."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma


class PatchEmbedding(nn.Module):
    """Patches of 14×14 pixels to tokens."""

    def __init__(self, width: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.proj(pictures).flatten(2).transpose(1, 2)  # (B, T, D)


class DINOv2(nn.Module):
    """The transformer; parameters are named as in the published weights."""

    def __init__(self, width: int, depth: int, grid: int):
        super().__init__()
        self.grid = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # in the weights; only training uses it
        self.patch_embed = PatchEmbedding(width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, pictures: Tensor) -> Tensor:
        rows, columns = pictures.shape[2] // PATCH, pictures.shape[3] // PATCH
        patches = self.patch_embed(pictures)
        classes = self.cls_token.expand(len(pictures), -1, -1)
        tokens = torch.cat([classes, patches], 1) + self.place(rows, columns)  # (B, 1 + T, D)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 0]  # (B, D)

    def place(self, rows: int, columns: int) -> Tensor:
        """Returns the learned positions (1, 1 + rows·columns, D), stretched to another grid where they must be."""
        if (rows, columns) == (self.grid, self.grid):
            return self.pos_embed
        positions = self.pos_embed[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)  # (1, D, grid, grid)
        factors = ((rows + POSITION_OFFSET) / self.grid, (columns + POSITION_OFFSET) / self.grid)
        positions = functional.interpolate(positions, scale_factor=factors, mode="bicubic")  # (1, D, rows, columns)
        return torch.cat([self.pos_embed[:, :1], positions.flatten(2).transpose(1, 2)], 1)


def build_dinov2(state: dict[str, Tensor]) -> DINOv2:
    """Returns the network that the weights belong to. Raises KeyError or RuntimeError when they are not DINOv2's."""
    width = state["pos_embed"].shape[2]
    grid = round((state["pos_embed"].shape[1] - 1) ** 0.5)
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    network = DINOv2(width, depth, grid)
    network.load_state_dict(state)
    return network.eval()
