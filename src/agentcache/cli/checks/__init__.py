"""What `agentcache doctor` looks at, one module per part of the installation."""
