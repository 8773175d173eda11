"""Sheets of images as PNG files, one image beside the other, readable back without loss."""

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from gantut.data import to_uint8
from gantut.errors import DataError, InputError
from gantut.files import writing


def tile(images: Tensor, columns: int) -> Tensor:
    """``[N, C, H, W]`` to one image ``[C, rows * H, columns * W]``, row by row, without gaps.

    A last row that is not full ends in zeros.

    Raises:
        InputError: fewer than one column.
    """
    if columns < 1:
        raise InputError(f"A sheet has at least one column, not {columns}.")
    n, c, h, w = images.shape
    rows = math.ceil(n / columns)
    sheet = images.new_zeros(rows * columns, c, h, w)
    sheet[:n] = images
    return (
        sheet.view(rows, columns, c, h, w).permute(2, 0, 3, 1, 4).reshape(c, rows * h, columns * w)
    )


def untile(sheet: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    """The inverse of :func:`tile`, for a sheet whose last row is full.

    Raises:
        InputError: images of that shape ``(C, H, W)`` do not fill the sheet.
    """
    c, h, w = image_shape
    if sheet.shape[0] != c or sheet.shape[1] % h or sheet.shape[2] % w:
        raise InputError(f"A sheet of shape {tuple(sheet.shape)} does not hold {c}x{h}x{w} images.")
    rows, columns = sheet.shape[1] // h, sheet.shape[2] // w
    return sheet.view(c, rows, h, columns, w).permute(1, 3, 0, 2, 4).reshape(-1, c, h, w)


def save(images: Tensor, path: str | Path, columns: int = 8) -> Path:
    """Write images as one PNG sheet.

    Args:
        images: uint8, or float in [-1, 1], ``[N, C, H, W]`` with one or three channels.
        path: of the PNG file; its folder is made.
        columns: images in a row.

    Raises:
        InputError: the path does not end in ``.png``.
        DataError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"A sheet of images is written as PNG: {path} must end in .png.")
    images = images if images.dtype == torch.uint8 else to_uint8(images)
    sheet = tile(images.cpu(), columns)
    array = (sheet[0] if sheet.shape[0] == 1 else sheet.permute(1, 2, 0)).contiguous().numpy()
    with writing(path) as aside:
        Image.fromarray(array).save(aside, format="png", optimize=True)
    return path


def load(path: str | Path, image_shape: tuple[int, int, int], count: int | None = None) -> Tensor:
    """Read a sheet that :func:`save` wrote: uint8 ``[N, C, H, W]``.

    Args:
        path: of the PNG file.
        image_shape: (channels, height, width) of an image.
        count: how many images were saved.  If None, the empty places of a last row that is not
            full come back as black images.

    Raises:
        InputError: the sheet does not hold images of that shape, or not so many.
        DataError: no such file, or no image in it.
    """
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            data = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged, or no image"
        raise DataError(f"{path} cannot be read as a sheet of images: {reason}.") from None
    images = untile(data.view(height, width, -1).permute(2, 0, 1), tuple(image_shape))
    if count is not None and not 1 <= count <= len(images):
        raise InputError(f"{path} has places for {len(images)} images, not for {count}.")
    return images[:count]
