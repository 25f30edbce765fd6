"""What is promised of engines, as tests. Installed as ``voxgate.engines``.

Example:
    ``pytest -p voxgate.plugin --pyargs voxgate.engines --vg-models unet --vg-backend openvino`` in any folder.
"""
