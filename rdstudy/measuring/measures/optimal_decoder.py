"""The distortion of the infinite-capacity decoder of the training images."""

from rdstudy.measures.optimal_decoder import optimal_distortion
from rdstudy.measuring.trained import TrainedMember


def optimal_decoder(trained: TrainedMember, subset: str) -> None:
    """D of x*(z), the training images weighed by their posteriors."""
    if trained.member.likelihood != "bernoulli":
        raise ValueError(f"the likelihood is {trained.member.likelihood}; allowed: bernoulli")
    sample = trained.sample(subset, trained.measures.memorization_images, "memorization")
    pixels = trained.images(sample.index)
    value = optimal_distortion(
        trained.encode(pixels).sample(trained.noise(len(sample), f"optimal {subset}")),
        images=pixels,
        train_posterior=trained.posterior("train"),
        train_images=trained.train_images,
        memory_bytes=trained.memory_bytes,
    )
    trained.columns[subset]["memorization_images"] = len(sample)
    trained.put(subset, optimal_distortion=value)
