"""What a model may use, the loop that runs what it calls, and what it cites of that; knows no app, loads no MLX."""
