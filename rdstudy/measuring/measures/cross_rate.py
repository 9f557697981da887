"""What test images cost with the aggregate posterior of the training images as the prior."""

from rdstudy.measures.rate_parts import cross_rate as rate_under_train
from rdstudy.measuring.trained import TrainedMember

SUBSETS = ("test",)


def cross_rate(trained: TrainedMember, subset: str) -> None:
    """E_test KL(q(z|x) ‖ q_train(z))."""
    test, train = trained.posterior("test"), trained.posterior("train")
    chosen = trained.chosen(len(test.mean), trained.measures.latent_samples, "latent test")
    noise = trained.noise(len(chosen), "latent test")
    value = rate_under_train(test, train_posterior=train, chosen=chosen, noise=noise, memory_bytes=trained.memory_bytes)
    trained.put(subset, cross_rate=value)
