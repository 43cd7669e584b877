"""The quantizer of training: how many of its levels are heard, and what is heard then."""

import torch
import torch.nn.functional as F

from training.codec.quantizer import Codebook, SplitQuantizer, levels_heard


def test_all_levels_are_heard_mostly_and_each_number_of_them_at_times() -> None:
    torch.manual_seed(0)
    drawn = torch.stack([levels_heard(7, torch.device("cpu")) for _ in range(4_000)])
    shares = torch.bincount(drawn, minlength=8) / len(drawn)
    assert shares[0] == 0
    torch.testing.assert_close(shares[1:7], torch.full((6,), 0.2 / 7), rtol=0, atol=0.012)
    kept = (torch.arange(7) < drawn[:, None]).float().mean(0)
    torch.testing.assert_close(kept, 0.8 + 0.2 * (7 - torch.arange(7)) / 7, rtol=0, atol=0.025)


def test_only_the_first_levels_add_to_what_is_heard() -> None:
    torch.manual_seed(0)
    quantizer, x = SplitQuantizer(12, 8, 10, 16, 5), torch.randn(2, 6, 12)
    quantizer(x.transpose(1, 2))  # places the entries
    levels = quantizer.eval().acoustic
    for kept in (1, 2, 4):
        heard, codes, _ = levels(x, torch.tensor(kept))
        books = [book for book in levels.books if isinstance(book, Codebook)]
        parts = [F.embedding(codes[..., level], book.vectors) for level, book in enumerate(books[:kept])]
        torch.testing.assert_close(heard, torch.stack(parts).sum(0))
    torch.testing.assert_close(levels(x, None)[0], heard)
