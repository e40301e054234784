"""Laws of CineMA's networks: order, batch, padding, windows, memory saving, precision, compilation, bad input."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cmr_models.nets import build
from cmr_models.nets.heatmap import published_coordinates, soft_argmax
from cmr_models.nets.resnet import _conv
from cmr_models.nets.vit import patchify
from cmr_models.nets.windows import run_in_windows, window_starts

SMALL: dict[str, Any] = {"size": "tiny", "sax_size": [32, 32, 4], "lax_size": [32, 32], "enc_conv_chans": [8, 16]}
SAX, FOUR_CHAMBER = (2, 1, 32, 32, 4), (2, 1, 32, 32)


def _build(kind: str, **config: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(kind, **{"views": ["sax", "lax_4c"], **SMALL, **config})


def _segmenter(**config: Any) -> nn.Module:
    return _build("ConvUNetR", **{"out_chans": 4, "dec_chans": [4, 8, 16, 8, 8], **config}).eval()


def _regressor(**config: Any) -> nn.Module:
    return _build("ConvViT", **{"out_chans": 3, **config}).eval()


def _autoencoder(**config: Any) -> nn.Module:
    return _build("CineMA", **config).eval()


def _images(*views: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"sax": SAX, "lax_4c": FOUR_CHAMBER}
    drawn = {view: torch.rand(shape, generator=generator) for view, shape in shapes.items()}
    return {view: drawn[view] for view in views or shapes}


def test_the_order_in_which_views_are_given_does_not_matter() -> None:
    net = _regressor()
    torch.testing.assert_close(net(_images("sax", "lax_4c")), net(_images("lax_4c", "sax")), rtol=0, atol=0)


def test_each_study_of_a_batch_is_answered_as_if_alone() -> None:
    net = _segmenter()
    together = net(_images())
    alone = net({view: image[1:] for view, image in _images().items()})
    for view in together:
        torch.testing.assert_close(together[view][1:], alone[view], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", ["all", "patch", "cls"])
def test_a_regressor_of_two_views_answers_with_either_alone(pool: str) -> None:
    net = _regressor(pool=pool)
    answers = [net(_images(*views)) for views in (("sax",), ("lax_4c",), ("sax", "lax_4c"))]
    assert all(answer.shape == (2, 3) and answer.isfinite().all() for answer in answers)
    assert not torch.allclose(answers[0], answers[1])


def test_a_segmenter_and_an_autoencoder_answer_for_the_views_they_are_given() -> None:
    assert set(_segmenter()(_images("lax_4c"))) == {"lax_4c"}
    assert set(_autoencoder().features(_images("sax"))) == {"cls", "sax"}  # type: ignore[operator]
    assert set(_autoencoder()(_images("sax"))[1]) == {"sax"}


def test_a_smaller_image_is_padded_at_the_end_and_the_answer_cropped() -> None:
    net, image = _segmenter(), _images("sax")["sax"]
    image[:, :, 30:] = 0.0
    image[..., 3:] = 0.0
    cropped = net({"sax": image[:, :, :30, :, :3]})["sax"]
    torch.testing.assert_close(cropped, net({"sax": image})["sax"][:, :, :30, :, :3])


def test_with_n_slices_nothing_in_the_padding_reaches_the_answer() -> None:
    n_slices = torch.tensor([3, 2])
    clean = _images()
    dirty = {view: image.clone() for view, image in clean.items()}
    for sample, n in enumerate(n_slices.tolist()):
        dirty["sax"][sample, ..., n:] = 7.0
    torch.testing.assert_close(_regressor()(clean, n_slices=n_slices), _regressor()(dirty, n_slices=n_slices))
    a, b = (_segmenter()(images, n_slices=n_slices) for images in (clean, dirty))
    for sample, n in enumerate(n_slices.tolist()):
        torch.testing.assert_close(a["sax"][sample, ..., :n], b["sax"][sample, ..., :n])
    torch.testing.assert_close(a["lax_4c"], b["lax_4c"])
    a, b = (_autoencoder().features(images, n_slices=n_slices) for images in (clean, dirty))  # type: ignore[operator]
    torch.testing.assert_close(a["cls"], b["cls"])
    loss_a, loss_b = (
        _autoencoder()(images, n_slices=n_slices, generator=torch.Generator().manual_seed(2))[0]
        for images in (clean, dirty)
    )
    torch.testing.assert_close(loss_a, loss_b)


def test_n_slices_of_a_full_stack_changes_nothing() -> None:
    net, full = _segmenter(), torch.tensor([4, 4])
    torch.testing.assert_close(net(_images(), n_slices=full)["sax"], net(_images())["sax"])


def test_without_n_slices_padding_is_black_image_as_published() -> None:
    net, image = _regressor(), _images("sax")["sax"][..., :2]
    seen, ignored = net({"sax": image}), net({"sax": image}, n_slices=torch.tensor([2, 2]))
    assert not torch.allclose(seen, ignored)


def test_the_drawn_masks_hide_three_quarters_and_follow_the_generator() -> None:
    net = _autoencoder()
    first, again, other = (net(_images(), generator=torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert first[1]["sax"].shape == (2, 12, 256)  # 2 x 2 x 4 tokens, 4 of them visible
    assert first[1]["lax_4c"].shape == (2, 3, 256)
    torch.testing.assert_close(first[0], again[0], rtol=0, atol=0)
    assert first[0] != other[0]


def test_the_loss_is_the_mean_over_views_of_the_error_on_hidden_voxels() -> None:
    net = _autoencoder()
    masks = {"sax": torch.ones(2, 16, dtype=torch.bool), "lax_4c": torch.ones(2, 4, dtype=torch.bool)}
    masks["sax"][:, 5:9] = False
    masks["lax_4c"][:, 2] = False
    loss, predictions = net(_images(), masks=masks)
    images = _images()
    errors = []
    for view, patch in (("sax", (16, 16, 1)), ("lax_4c", (16, 16))):
        hidden = patchify(images[view], patch)[masks[view]].reshape(predictions[view].shape)
        errors.append((predictions[view] - hidden).square().mean())
    torch.testing.assert_close(loss, torch.stack(errors).mean())


def test_patches_run_over_the_grid_row_by_row_and_hold_the_channel_last() -> None:
    image = torch.arange(2 * 4 * 2).reshape(1, 2, 4, 2)  # channel 1 is channel 0 plus 8
    patches = patchify(image, (2, 1))
    assert patches.tolist() == [[[0, 8, 2, 10], [1, 9, 3, 11], [4, 12, 6, 14], [5, 13, 7, 15]]]


@pytest.mark.parametrize("kind", ["CineMA", "ConvViT", "ConvUNetR", "UNet", "ResNet3d"])
def test_gradient_checkpointing_changes_neither_loss_nor_gradients(kind: str) -> None:
    gradients = []
    for save in (False, True):
        net = _small_of_kind(kind, grad_ckpt=save)
        _no_chance(net)
        images = _images("sax")
        if kind == "CineMA":
            loss = net.train()(images, generator=torch.Generator().manual_seed(5))[0]
        else:
            answer = net.train()(images)
            loss = (answer["sax"] if isinstance(answer, dict) else answer).square().mean()
        loss.backward()
        gradients.append([p.grad for p in net.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["CineMA", "ConvViT", "ConvUNetR", "UNet", "ResNet3d"])
def test_every_trained_weight_receives_a_gradient(kind: str) -> None:
    net = _small_of_kind(kind).train()
    answer = net(_images("sax"))
    loss = answer[0] if kind == "CineMA" else (answer["sax"] if isinstance(answer, dict) else answer).square().mean()
    loss.backward()
    without = {name for name, p in net.named_parameters() if p.requires_grad and p.grad is None}
    assert without == ({"decoder.in_conv.conv.weight", "decoder.in_conv.conv.bias"} if kind == "UNet" else set())


@pytest.mark.parametrize("kind", ["ConvViT", "ConvUNetR", "UNet", "ResNet3d"])
def test_bfloat16_moves_the_logits_by_less_than_a_hundredth_on_average(kind: str) -> None:
    net, images = _small_of_kind(kind).eval(), _images("sax")
    with torch.inference_mode():
        exact = net(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            quick = net(images)
    exact, quick = (answer["sax"] if isinstance(answer, dict) else answer for answer in (exact, quick))
    assert quick.dtype == torch.float32
    assert (quick - exact).abs().mean() <= 1e-2
    assert (quick - exact).abs().max() <= 5e-2 * exact.abs().max().clamp(min=1.0)


@pytest.mark.parametrize("n_slices", [1, 2])
@pytest.mark.parametrize("kernel", [3, 7])
def test_a_shallow_stack_in_bfloat16_does_not_depend_on_what_lies_in_memory(n_slices: int, kernel: int) -> None:
    convolution, images = _conv(3, 16, 32, kernel, 2).eval(), torch.randn(2, 16, 8, 8, n_slices)
    with torch.inference_mode():
        exact = convolution(images)
        for _ in range(25):
            for n in (300, 4000, 50_000, 3_000_000):  # leave large numbers in memory that is free again
                torch.full((n,), 1e30)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert (convolution(images).float() - exact).abs().max() < 0.1


@pytest.mark.parametrize("kind", ["CineMA", "ConvViT", "ConvUNetR", "UNet", "ResNet3d"])
def test_the_network_compiles_as_one_graph_and_answers_the_same(kind: str) -> None:
    few_blocks = {} if kind in ("UNet", "ResNet3d") else {"enc_conv_n_blocks": 1}
    net, images = _small_of_kind(kind, **few_blocks).eval(), _images("sax")
    torch._dynamo.reset()
    call = net.features if kind == "CineMA" else net
    compiled = torch.compile(call, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(images), call(images))  # type: ignore[operator]


def test_windows_step_by_half_and_the_last_ends_with_the_axis() -> None:
    assert window_starts(16, 16, 0.5) == [0]
    assert window_starts(18, 16, 0.5) == [0, 2]
    assert window_starts(40, 16, 0.5) == [0, 8, 16, 24]
    assert window_starts(9, 4, 0.0) == [0, 4, 5]


def test_windows_average_probabilities_where_they_overlap() -> None:
    class ByWindow(nn.Module):
        """Says class 0 for sure in the first window it sees, class 1 in the second."""

        calls = 0

        def forward(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
            image = images["sax"]
            logits = torch.full((1, 2, *image.shape[2:]), -50.0)
            logits[:, self.calls] = 50.0
            self.calls += 1
            return {"sax": logits}

    image = torch.rand(1, 1, 2, 2, 6)
    answer = run_in_windows(ByWindow(), {"sax": image}, view="sax", window=(2, 2, 4), combine="softmax")
    assert isinstance(answer, dict)
    first_class = answer["sax"].exp()[0, 0, 0, 0]
    torch.testing.assert_close(first_class, torch.tensor([1.0, 1.0, 0.5, 0.5, 0.0, 0.0]), atol=1e-6, rtol=0)


def test_a_stack_that_fits_is_not_cut_and_a_longer_one_is_answered_whole() -> None:
    net, images = _segmenter(views=["sax"]), _images("sax")
    whole = run_in_windows(net, images, view="sax", window=(32, 32, 4), combine="softmax")
    assert isinstance(whole, dict)
    torch.testing.assert_close(whole["sax"], net(images)["sax"], rtol=0, atol=0)
    longer = {"sax": torch.cat([images["sax"], images["sax"]], dim=-1)[..., :7]}
    cut = run_in_windows(net, longer, view="sax", window=(32, 32, 4), combine="softmax")
    assert isinstance(cut, dict)
    torch.testing.assert_close(cut["sax"].exp().sum(1), torch.ones(2, 32, 32, 7))
    scalar = run_in_windows(_regressor(), longer, view="sax", window=(32, 32, 4), combine="mean")
    assert isinstance(scalar, Tensor)
    assert scalar.shape == (2, 3)


def test_the_peak_of_a_heatmap_between_two_pixels_is_found_between_them() -> None:
    heatmap = torch.zeros(1, 1, 8, 10)
    heatmap[0, 0, 3, 6] = heatmap[0, 0, 4, 6] = 1.0
    torch.testing.assert_close(soft_argmax(heatmap), torch.tensor([[3.5, 6.0]]))
    assert published_coordinates(heatmap).tolist() == [[3, 6]]


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize(("kind", "shape"), [("ResNet2d", (1, 2, 32, 32)), ("ResNet3d", (1, 2, 32, 32, 3))])
def test_residual_networks_of_every_depth_answer(kind: str, shape: tuple[int, ...], depth: int) -> None:
    net = build(kind, depth=depth, in_chans=2, out_chans=5, layer_inplanes=[4, 8, 8, 8]).eval()
    assert net({"sax": torch.rand(shape)}).shape == (1, 5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, "need at least one of the views"),
        ({"lax_3c": torch.rand(FOUR_CHAMBER)}, "need at least one of the views .*'lax_3c'"),
        ({"sax": torch.rand(FOUR_CHAMBER)}, r"sax must be \(batch, 1, x, y, z\), got \(2, 1, 32, 32\)"),
        ({"sax": torch.rand(2, 3, 32, 32, 4)}, r"sax must be \(batch, 1, x, y, z\)"),
        ({"sax": torch.rand(2, 1, 32, 32, 40)}, r"larger than the model's \(32, 32, 4\).*run_in_windows"),
        ({"lax_4c": torch.rand(1, 1, 4096, 4096)}, "larger than the model's"),
        ({"lax_4c": torch.zeros(2, 1, 32, 32, dtype=torch.uint8)}, "lax_4c must be floating point"),
        ({"sax": torch.rand(SAX), "lax_4c": torch.rand(1, 1, 32, 32)}, "views differ in batch size"),
        ({"sax": torch.rand(0, 1, 32, 32, 4)}, "sax must be"),
    ],
)
@pytest.mark.parametrize("make", [_segmenter, _regressor, _autoencoder])
def test_wrong_images_are_refused_with_the_reason(make: Any, images: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()(images)


def test_wrong_n_slices_are_refused() -> None:
    net = _segmenter()
    with pytest.raises(ValueError, match=r"must be \(2,\), one a sample"):
        net(_images(), n_slices=torch.tensor([3]))
    with pytest.raises(ValueError, match=r"must lie in 1\.\.4, got \[0, 9\]"):
        net(_images(), n_slices=torch.tensor([0, 9]))
    with pytest.raises(ValueError, match="describes the view sax"):
        net(_images("lax_4c"), n_slices=torch.tensor([1, 1]))


def test_wrong_masks_are_refused() -> None:
    net, images = _autoencoder(), _images("lax_4c")
    with pytest.raises(ValueError, match="masks are for"):
        net(images, masks={})
    with pytest.raises(ValueError, match=r"must be bool \(2, 4\)"):
        net(images, masks={"lax_4c": torch.ones(2, 5, dtype=torch.bool)})
    with pytest.raises(ValueError, match="must leave 1 tokens visible"):
        net(images, masks={"lax_4c": torch.ones(2, 4, dtype=torch.bool)})


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("CineMA", {"views": ["rvot"], "size": "tiny"}, "views must be distinct and among"),
        ("CineMA", {"views": [], "size": "tiny"}, "views must be distinct and among"),
        ("CineMA", {"views": ["sax"], "size": "vast"}, "size must be one of"),
        ("CineMA", {"views": ["sax"], "size": "tiny", "mask_ratio": 1.0}, "mask_ratio must lie between"),
        ("ConvViT", {"views": ["sax"], "out_chans": 1, "sax_size": [30, 32, 4]}, "multiple of the token footprint"),
        ("ConvViT", {"views": ["sax"], "out_chans": 1, "pool": "max"}, "pool must be one of"),
        ("ConvUNetR", {"views": ["sax"], "out_chans": 1, "dec_chans": [4, 4]}, "dec_chans needs 5 entries"),
        ("ConvUNetR", {"views": ["sax"], "out_chans": 1, "dec_patch_size": [4, 4, 1]}, "must undo the encoder"),
        ("ConvUNetR", {"views": ["sax"], "out_chans": 1, "sax_size": [48, 48, 4]}, "token grid .* multiple of"),
        ("UNet", {"n_dims": 4, "out_chans": 1}, "n_dims must be 2 or 3"),
        ("ResNet2d", {"depth": 49, "out_chans": 1}, "depth must be one of"),
        ("ResNet3d", {"depth": 50, "outchans": 1}, "cannot be built with the settings"),
    ],
)
def test_wrong_settings_are_refused(kind: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(kind, **config)


def test_the_baselines_refuse_images_they_cannot_take() -> None:
    unet, resnet = _small_of_kind("UNet"), _small_of_kind("ResNet3d")
    with pytest.raises(ValueError, match=r"pad it to multiples of \(4, 4, 1\)"):
        unet({"sax": torch.rand(1, 1, 30, 32, 4)})
    with pytest.raises(ValueError, match=r"sax must be \(batch, 1, 3 axes\)"):
        unet({"sax": torch.rand(1, 1, 32, 32)})
    with pytest.raises(ValueError, match="exactly one view"):
        resnet(_images())


def _small_of_kind(kind: str, **config: Any) -> nn.Module:
    torch.manual_seed(0)
    if kind == "UNet":
        return build("UNet", n_dims=3, out_chans=4, chans=[4, 8, 8], **config)
    if kind == "ResNet3d":
        return build("ResNet3d", depth=18, out_chans=3, layer_inplanes=[4, 8, 8, 8], **config)
    makers = {"CineMA": _autoencoder, "ConvViT": _regressor, "ConvUNetR": _segmenter}
    return makers[kind](views=["sax"], **config)


def _no_chance(net: nn.Module) -> None:
    """No dropout and no stochastic depth, so that two runs are alike."""
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "drop_path"):
            module.drop_path = 0.0
