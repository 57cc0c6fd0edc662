# Finds the course or, as in Colab, fetches it and installs its package.
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

version = "0.1.0"  # of the course that this chapter is from
if importlib.util.find_spec("bertfamily") is None:
    address = "https://github.com/the-bert-family/the-bert-family"
    course = Path("the-bert-family").resolve()
    if not course.exists():
        clone = ["git", "clone", "--quiet", "--depth=1", address, course]
        subprocess.run(clone, check=True)
    whole = ["git", "-C", course, "diff", "--quiet", "--diff-filter=D", "HEAD"]
    lacks = subprocess.run(whole).returncode
    if lacks or not (course / "src/bertfamily").is_dir():
        raise RuntimeError(f"{course} is not the whole course: rename it")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--editable"]
    subprocess.run([*pip, f"{course}[chapters]"], check=True)
    sys.path.insert(0, str(course / "src"))  # a running kernel does not see it

import bertfamily

have = getattr(bertfamily, "__version__", "0")
if [*map(int, have.split("."))] < [*map(int, version.split("."))]:
    where = bertfamily.__path__[0]
    raise RuntimeError(f"{where} has version {have}: git pull, then restart")
loaded = sys.modules.get("transformers")
if loaded and loaded.__version__ != importlib.metadata.version("transformers"):
    raise RuntimeError("another transformers is in memory: restart the kernel")
