"""Several encoders as one, and how their vectors become one."""
