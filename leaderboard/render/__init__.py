"""From numbers to Markdown, CSV, LaTeX, the page, figures and the terminal."""
