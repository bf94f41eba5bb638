"""From the paths of two sides to their features, and to those that checks need beside them."""

from argparse import Namespace

from eval.distances.figures import checks, figures
from eval.distances.sides import SIDES, Side, check_saved, common_size, open_sides
from eval.features.cache import FeatureCache
from eval.features.extract import Extractor
from eval.features.feature_set import FeatureSet, Recipe, is_saved
from eval.features.network import FeatureNetwork, open_network
from eval.videos.shuffled import Shuffled
from eval.videos.source import Source
from eval.videos.window import order_of
from runtime import distributed


def measure(args: Namespace) -> dict[str, object]:
    """What the JSON file holds, on every process; `args` are the command's, as its protocol settles them.

    Raises:
        UserError: sides that cannot be compared, or a network that is not there.
    """
    extractor = None if is_saved(args.real) and is_saved(args.generated) else open_extractor(args)
    sides, size = distributed.on_main(lambda: opened(args))  # after it: to index a data set can take minutes
    recipe = recipe_of(args, size, extractor.network) if extractor else sides[0].recipe
    distributed.on_main(lambda: check_saved(args, sides, recipe))
    real, rest = features_of(args, sides, 0, recipe, extractor)
    generated, _ = features_of(args, sides, 1, recipe, extractor)
    if args.save_statistics and distributed.is_main():
        args.save_statistics.parent.mkdir(parents=True, exist_ok=True)
        real.save(args.save_statistics)
    result = distributed.on_main(lambda: figures(args, real, generated))
    if args.checks:
        result["checks"] = checked(args, sides[0], real, rest, generated, extractor)
    return result


def opened(args: Namespace) -> tuple[tuple[Side, Side], tuple[int, int]]:
    """Both sides, and the size that clips of both have."""
    sides = open_sides(args)
    return sides, common_size(args, *sides)


def open_extractor(args: Namespace) -> Extractor:
    network = open_network(args.feature_network, args.features)
    network.check(args.frames)
    return Extractor(network, FeatureCache(args.cache, network), args.batch_size, args.workers)


def recipe_of(args: Namespace, size: tuple[int, int], network: FeatureNetwork) -> Recipe:
    """How features are made in this call."""
    how = network.name, network.path.name, network.transform, network.sha256
    return Recipe(args.frames, args.frame_stride, args.fps, size, *how)


def features_of(
    args: Namespace, sides: tuple[Side, Side], which: int, recipe: Recipe, extractor: Extractor | None
) -> tuple[FeatureSet, list[int]]:
    """The features of one side, as many as are asked for or there are, and the videos that are left over."""
    side, wanted = sides[which], (args.num_real, args.num_generated)[which]
    if isinstance(side, FeatureSet):
        return side.chosen(order_of(side.count, args.seed)[:wanted]), []
    order, count = order_of(side.total, args.seed), wanted or side.total
    taken = extractor(side, order, count, recipe.size, SIDES[which])
    path = str((args.real, args.generated)[which])
    described = path, side.total, side.left_out, side.rates, side.reference
    return FeatureSet(taken.features, taken.keys, recipe, *described), taken.rest


def checked(
    args: Namespace, source: Source, real: FeatureSet, rest: list[int], generated: FeatureSet, extractor: Extractor
) -> dict[str, object]:
    """The floor, of other real videos where there are some, and the check that features see motion."""
    more = extractor(source, rest, real.count, real.recipe.size, "more real")
    order = order_of(source.total, args.seed)
    shuffled = extractor(Shuffled(source, args.seed), order, real.count, real.recipe.size, "shuffled")
    sets = real.features, more.features, shuffled.features, generated.features
    return distributed.on_main(lambda: checks(args.seed, *sets))
