"""What ships so that anybody can try the product without a provider account: a fake provider and prompts."""
