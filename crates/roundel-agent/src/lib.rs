//! roundel-agent.
