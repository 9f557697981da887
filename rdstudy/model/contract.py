"""Whether a user's own architecture, prior and likelihood keep to what is asked of them, seen on two images.

Each is made on the CPU from a seed, small sizes or large, before anything is trained with it: what breaks a rule is
refused in one line that names the part, the place in it and the rule. Built-in parts are never looked at: tests are.
"""

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from rdstudy.model.description import NetworkShape
from rdstudy.model.likelihoods import Likelihood, likelihood
from rdstudy.model.networks import VAE, build, cost_of_shape
from rdstudy.model.priors import PriorTerms
from rdstudy.study import parts
from rdstudy.study.bounds import MOST_PARAMETERS
from rdstudy.study.words import one_line, one_line_with_type

IMAGES = 2
_SEEDS = (3, 5)  # of the two members
_RTOL, _ATOL = 1e-3, 1e-4  # of float32, in products of another order


@functools.cache
def check_network(shape: NetworkShape) -> None:
    """Hold the user's own parts of a network against their contracts.

    Raises:
        ValueError: one of them breaks a rule.
    """
    if parts.is_own(shape.likelihood):
        _check_likelihood(shape)
    if parts.is_own(shape.architecture):
        _check_architecture(shape._replace(prior="normal"))
    if parts.is_own(shape.prior):
        _check_prior(shape)


@contextlib.contextmanager
def guarded(kind: str, level: str, doing: str = "") -> Iterator[None]:
    """Say in one line what a user's own code raises, where in its file, and what was done with it, if given."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too, would end the command without a word
        text = one_line(error) if isinstance(error, ValueError) else one_line_with_type(error)
        where = f"{kind} {level}{f', {doing}' if doing else ''}{parts.line_in_own_file(level, error)}"
        raise ValueError(f"{where}: {text}") from None


def broken(problem: str, allowed: str) -> ValueError:
    """What a rule says that a part breaks; `guarded` puts the part's name before it."""
    return ValueError(f"{problem}; allowed: {allowed}")


def check_tensor(what: str, value: object, shape: tuple[int, ...]) -> Tensor:
    """Refuse what is no finite tensor of a shape."""
    if not isinstance(value, Tensor):
        raise broken(f"{what} is a {type(value).__name__}", f"a tensor {list(shape)}")
    if tuple(value.shape) != shape or value.dtype != torch.get_default_dtype():
        raise broken(f"{what} is {list(value.shape)}, {value.dtype}", f"{list(shape)}, {torch.get_default_dtype()}")
    if not torch.isfinite(value).all():
        raise broken(f"{what} is not finite", "finite numbers")
    return value


def alike(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are equal up to rounding."""
    return first.shape == second.shape and torch.allclose(first, second, rtol=_RTOL, atol=_ATOL, equal_nan=True)


# --- architectures ----------------------------------------------------------------------------------------------------


def _check_architecture(shape: NetworkShape) -> None:
    with guarded("architecture", shape.architecture):
        uncounted = _uncounted(shape)
        if uncounted is None and cost_of_shape(shape).parameters > MOST_PARAMETERS:
            return  # a plan says so, and no memory is taken for it
        vaes = _two_members(shape)
        generator = torch.Generator().manual_seed(7)
        x = torch.rand(IMAGES + 1, shape.pixels, generator=generator)
        z = torch.randn(IMAGES + 1, shape.latent_dim, generator=generator)
        outputs = shape.pixels + likelihood(shape.likelihood).parameters
        for name, given, width in (("encoder", x, 2 * shape.latent_dim), ("decoder", z, outputs)):
            network = vaes[0].get_submodule(name)
            check_tensor(f"{name}(input [{IMAGES}, {given.shape[1]}])", network(given[:IMAGES]), (IMAGES, width))
            _check_stateless(name, network, given)
    with guarded("architecture", shape.architecture, "two members stacked"):
        for name, given in (("encoder", x), ("decoder", z)):
            _check_stacked(vaes, f"{name}.", operator.attrgetter(name), (given[:IMAGES],))
    _check_counted("architecture", shape.architecture, uncounted)


def _uncounted(shape: NetworkShape) -> Exception | None:
    """What prevents the cost of a network from being counted: where it cannot be made at all, that is said first."""
    try:
        cost_of_shape(shape)
    except Exception as error:
        return error
    return None


def _check_counted(kind: str, level: str, uncounted: Exception | None) -> None:
    if uncounted is not None:
        with guarded(kind, level, "on PyTorch's meta device, where its cost is counted"):
            allowed = "operations that read no values, on tensors that move with the network: parameters and buffers"
            raise broken(one_line_with_type(uncounted), allowed).with_traceback(uncounted.__traceback__)


def _two_members(shape: NetworkShape) -> tuple[VAE, VAE]:
    """The networks of two seeds; their weights are trained, and depend on the seed alone."""
    first, second, again = (build(shape, seed=seed) for seed in (*_SEEDS, _SEEDS[0]))
    names: dict[nn.Module, str] = {}
    for name, module in first.named_modules(remove_duplicate=False):
        if module in names and _tensors(module):  # `functional_call` does not put back what it finds twice
            raise broken(f"{names[module]} and {name} are one module", "one name, called as often as needed")
        names.setdefault(module, name)
    for name, parameter in first.named_parameters():
        if not parameter.requires_grad:
            raise broken(f"{name} is a parameter that is not trained", "a buffer, for what stays as it is")
    for (name, value), (_, other) in zip(_tensors(first).items(), _tensors(again).items(), strict=True):
        if not torch.equal(value, other):
            raise broken(f"{name} is another one when it is made again", "values drawn by PyTorch's own generator")
    return first, second


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@torch.no_grad()
def _check_stateless(name: str, network: nn.Module, given: Tensor) -> None:
    """The same images give the same output, whatever came before and whatever is beside them; nothing is kept."""
    before = {buffer: value.clone() for buffer, value in network.named_buffers()}
    first, second = (_passes(network, given[:IMAGES]) for _ in range(2))
    without_state = "layers without state, such as LayerNorm and GroupNorm"
    for buffer, value in network.named_buffers():
        if not torch.equal(value, before[buffer]):
            raise broken(f"{_named(name, network, buffer.rpartition('.')[0])} keeps state between steps", without_state)
    for path, (output, again) in _pairs(first, second):
        if not torch.equal(output, again):
            what = f"{_named(name, network, path)} gives another output for the same input"
            raise broken(what, "layers without state or noise of their own: no Dropout")
    beside = _passes(network, given[[0, IMAGES]])
    if not alike(first[""][0], beside[""][0]):
        at = next(
            path
            for path, (output, again) in _pairs(first, beside)
            if len(output) == IMAGES and not alike(output[0], again[0])
        )
        raise broken(f"{_named(name, network, at)} lets an image depend on the others of its batch", without_state)


def _passes(network: nn.Module, given: Tensor) -> dict[str, Tensor]:
    """The output of every module, by its path, in the order in which they end: the network's own, "", comes last."""
    outputs: dict[str, Tensor] = {}

    def note(path: str, output: object) -> None:
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if tensors:
            outputs.setdefault(path, tensors[0].clone())

    hooks = [
        module.register_forward_hook(lambda _, __, output, path=path: note(path, output))
        for path, module in network.named_modules()
    ]
    try:
        network(given)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def _pairs(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    for path, value in first.items():
        if path in second and second[path].shape == value.shape:
            yield path, (value, second[path])


def _named(name: str, network: nn.Module, path: str) -> str:
    """Such as `encoder.1 (BatchNorm1d)`."""
    return f"{name}{f'.{path}' if path else ''} ({type(network.get_submodule(path)).__name__})"


def _check_stacked(
    vaes: tuple[VAE, VAE], prefix: str, part_of: Callable[[VAE], nn.Module], given: tuple[Tensor, ...]
) -> None:
    """Outputs and gradients of two members on a leading axis are those of one after the other.

    `part_of` gives the part of a member, which is called with `given`; among the member's tensors, its have `prefix`.
    """
    alone = [_tensors(vae) for vae in vaes]
    stacked = {name: torch.stack([each[name].detach() for each in alone]) for name in alone[0]}
    trained = {name: stacked[name].requires_grad_() for name, _ in vaes[0].named_parameters()}
    part = part_of(vaes[0])
    read = {name: stacked[prefix + name] for name in _tensors(part) if prefix + name in stacked}
    together = torch.vmap(lambda tensors: functional_call(part, tensors, given))(read)
    slopes = _slopes(together, trained)
    for at, vae in enumerate(vaes):
        outputs = part_of(vae)(*given)
        own_slopes = _slopes(outputs, dict(vae.named_parameters()))
        pairs = [*zip(tree_leaves(together), tree_leaves(outputs), strict=True)]
        pairs += [(slopes[name], own_slopes[name]) for name in trained]
        if not all(alike(both[at], single) for both, single in pairs):
            what = f"{prefix.rstrip('.') or 'the prior'} gives other outputs or gradients than one by one"
            raise broken(what, "weights of its own, and layers that torch.vmap maps")


def _slopes(outputs: object, of: Mapping[str, Tensor]) -> dict[str, Tensor]:
    total = sum(leaf.square().sum() for leaf in tree_leaves(outputs))
    if not isinstance(total, Tensor) or not total.requires_grad:
        return {name: torch.zeros_like(value) for name, value in of.items()}
    slopes = torch.autograd.grad(total, list(of.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(of, slopes, strict=True))


# --- priors -----------------------------------------------------------------------------------------------------------


def _check_prior(shape: NetworkShape) -> None:
    with guarded("prior", shape.prior):
        vaes = _two_members(shape)
        prior, encode = vaes[0].prior, vaes[0].encoder
        generator = torch.Generator().manual_seed(7)
        z = torch.randn(IMAGES, shape.latent_dim, generator=generator).requires_grad_()
        buffers = {name: value.clone() for name, value in prior.named_buffers()}
        log_density, again = (prior.log_density(z, encode) for _ in range(2))
        check_tensor("log_density(z)", log_density, (IMAGES,))
        if not torch.equal(log_density, again):
            raise broken("log_density(z) is another one at the second call", "a function of z and the weights")
        changed = [name for name, value in prior.named_buffers() if not torch.equal(value, buffers[name])]
        if changed:
            raise broken(f"{changed[0]} is changed by log_density", "a prior without state")
        if not log_density.requires_grad:
            raise broken("log_density(z) cannot be differentiated in z", "operations of PyTorch")
        check_tensor("the derivative of log_density(z)", torch.autograd.grad(log_density.sum(), z)[0], tuple(z.shape))
        with torch.no_grad():
            draws, same = (prior.sample(IMAGES, torch.Generator().manual_seed(11), encode) for _ in range(2))
            check_tensor(f"sample({IMAGES})", draws, (IMAGES, shape.latent_dim))
            check_tensor("log_density of a sample", prior.log_density(draws, encode), (IMAGES,))
        if not torch.equal(draws, same):
            raise broken("sample draws by something else than the generator", "torch.randn(..., generator=generator)")
        code = torch.cat([z, z], dim=-1).detach()
        check_tensor("closed_rate", PriorTerms(prior, encode)(code, z.detach())[1], (IMAGES,))
    with guarded("prior", shape.prior, "two members stacked"):
        _check_stacked(vaes, "", lambda vae: PriorTerms(vae.prior, vae.encoder), (code, z.detach()))
    _check_counted("prior", shape.prior, _uncounted(shape))


# --- likelihoods ------------------------------------------------------------------------------------------------------


def _check_likelihood(shape: NetworkShape) -> None:
    with guarded("likelihood", shape.likelihood):
        made = likelihood(shape.likelihood)
        generator = torch.Generator().manual_seed(7)
        x = torch.rand(IMAGES, shape.pixels, generator=generator)
        x[0, 0], x[0, -1] = 0.0, 1.0  # where logarithms end
        output = torch.randn(IMAGES, shape.pixels + made.parameters, generator=generator)
        distortion = check_tensor("distortion", made.distortion(output, x), (IMAGES,))
        check_tensor("mean", made.mean(output), (IMAGES, shape.pixels))
        floor = check_tensor("floor", made.floor(x), (IMAGES,))
        if (floor > distortion + _ATOL + _RTOL * distortion.abs()).any():
            raise broken(
                f"floor {floor.max():.4g} is above a distortion, {distortion.min():.4g}", "a lower bound of it"
            )
        of_pixels = made.floor(x.double().reshape(-1, 1)).reshape(x.shape).sum(dim=-1)  # as floors of images are made
        if not alike(of_pixels.to(floor.dtype), floor):
            raise broken("floor is not the sum of those of single pixels", "a sum over pixels")
        draws, same = (made.simulate(output, torch.Generator().manual_seed(11)) for _ in range(2))
        check_tensor("simulate", draws, (IMAGES, shape.pixels))
        if not torch.equal(draws, same):
            raise broken("simulate draws by something else than the generator", "torch.rand(..., generator=generator)")
        _check_slope(made, output, x)
        together = made.distortion(torch.stack([output, output.flip(0)]), torch.stack([x, x]))
        check_tensor("distortion of two members", together, (2, IMAGES))
        if not alike(together[0], distortion):
            raise broken("distortion lets a member depend on another", "a sum over the last axis alone")


def _check_slope(made: Likelihood, output: Tensor, x: Tensor) -> None:
    """The gradient that is given is the distortion's."""
    expected = torch.func.grad(lambda at: made.distortion(at, x).sum())(output)
    check_tensor("the derivative of distortion", expected, tuple(output.shape))
    if made.gradient is not None:
        given = check_tensor("gradient", made.gradient(output.clone(), x), tuple(output.shape))
        if not alike(given, expected):
            raise broken("gradient is not the derivative of distortion in the output", "its derivative, or None")
