"""One page about a whole run: results/DATASET/index.html, written anew while the run goes on."""

from evaluation.run_page.page import write_run_page

__all__ = ["write_run_page"]
