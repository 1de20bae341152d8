"""One engine per task, all behind `base.Engine`."""
