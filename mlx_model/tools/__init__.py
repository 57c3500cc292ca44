"""What a model may use, and the loop that runs what it calls; knows no app, loads no MLX."""
