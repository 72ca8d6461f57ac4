"""Pictures of a leaderboard. Every function returns a matplotlib figure; `style.png` draws it."""
