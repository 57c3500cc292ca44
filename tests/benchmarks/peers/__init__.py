"""`make bench-peers`: this project, llama.cpp and mlx-lm on the same weights, each in a process of its own."""
