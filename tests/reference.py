"""The formulas of docs and papers, pixel by pixel in float64: slow, and shared with nothing."""

from __future__ import annotations

import math

import numpy as np

from fastaug.execute.output import NOISE


def philox_words(counter, key):
    """Philox4x32-10 in plain Python integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def words_of(plan, row, stream, draw):
    counter = (int(row["index"]), int(row["epoch"]), draw, stream << 24 | int(row["occurrence"]))
    return philox_words(counter, (plan.seed & 0xFFFFFFFF, plan.seed >> 32))


def grid_erased(row, height, width, y, x):
    """Chen 2020: rotate the pixel's centre about the image's, look which stripes it is in."""
    cos, sin = row["grid_cos"] / 65536, row["grid_sin"] / 65536
    v, u = y + 0.5 - height / 2, x + 0.5 - width / 2
    down = math.floor(cos * v + sin * u + max(height, width))
    over = math.floor(cos * u - sin * v + max(height, width))
    in_rows = (down - row["grid_y"]) % row["grid_d"] < row["grid_l"]
    in_columns = (over - row["grid_x"]) % row["grid_d"] < row["grid_l"]
    striped = in_rows or in_columns
    return not striped if row["grid_mode"] else striped


def image(plan, crops, i, mean, std):
    """Sample i, normalised and masked: float64 [H, W, 3]."""
    row = plan.rows[i]
    height, width = plan.size
    out = (crops[i] / 255.0 - np.array(mean)) / np.array(std)
    for y in range(height):
        for x in range(width):
            if row["grid_d"] and grid_erased(row, height, width, y, x):
                out[y, x] = row["grid_fill"]
            if row["hide"]:
                side = int(row["hide"])
                cell = (y // side) * math.ceil(width / side) + x // side
                if (words_of(plan, row, 0x30, cell // 4)[cell % 4] >> 8) / 2**24 < row["hide_p"]:
                    out[y, x] = row["hide_fill"]
            for hole in plan.sample(i).holes:
                if hole["y0"] <= y < hole["y1"] and hole["x0"] <= x < hole["x1"]:
                    out[y, x] = hole["fill"]
                    if hole["noise"]:
                        bits = words_of(plan, row, 0x38, y * width + x)
                        out[y, x] = [NOISE[b >> 20] for b in bits[:3]]
    return out


def scaled(partner, row, y, x):
    """A pixel of a partner that is scaled into the row's box, bilinearly."""
    between = []
    for at, low, high, side in (
        (y, row["cut_y0"], row["cut_y1"], partner.shape[0]),
        (x, row["cut_x0"], row["cut_x1"], partner.shape[1]),
    ):
        place = max((at - low + 0.5) * side / (high - low) - 0.5, 0)
        between.append((int(place), min(int(place) + 1, side - 1), place - int(place)))
    (top, bottom, down), (left, right, over) = between
    upper = partner[top, left] * (1 - over) + partner[top, right] * over
    lower = partner[bottom, left] * (1 - over) + partner[bottom, right] * over
    return upper * (1 - down) + lower * down


def batch(plan, crops, mean, std):
    """The whole batch: float64 [B, 3, H, W]."""
    own = [image(plan, crops, i, mean, std) for i in range(len(plan))]
    out = [o.copy() for o in own]
    for i, row in enumerate(plan.rows):
        partner = own[row["partner"]]
        if row["mix"] == 1:
            lam = float(row["lam"])
            out[i] = lam * own[i] + (1 - lam) * partner
        elif row["mix"] == 2:
            box = (slice(row["cut_y0"], row["cut_y1"]), slice(row["cut_x0"], row["cut_x1"]))
            out[i][box] = partner[box]
        elif row["mix"] == 3:
            bits = np.unpackbits(plan.masks[row["mix_mask"]], axis=1, bitorder="little")
            shown = bits[:, : plan.size[1]] > 0
            out[i][shown] = partner[shown]
        elif row["mix"] == 4:
            for y in range(row["cut_y0"], row["cut_y1"]):
                for x in range(row["cut_x0"], row["cut_x1"]):
                    out[i][y, x] = scaled(partner, row, y, x)
    return np.stack(out).transpose(0, 3, 1, 2)
