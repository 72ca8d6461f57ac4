"""The tables of a leaderboard: typed cells, made once from the board, drawn by `render`."""
