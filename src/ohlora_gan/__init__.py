"""ohlora_gan: fine-tune a StyleGAN face generator, score attributes, find directions that change one thing."""

__version__ = "0.1.0"
