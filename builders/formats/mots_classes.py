"""Classes of MOTS annotations, and of their variants that number them otherwise; who to cite for each."""

from __future__ import annotations

LICENSE = "that of the annotations; KITTI MOTS and MOTSChallenge: CC BY-NC-SA 3.0"
CITATION = """\
@inproceedings{voigtlaender2019mots,
  title     = {{MOTS}: Multi-Object Tracking and Segmentation},
  author    = {Voigtlaender, Paul and Krause, Michael and Osep, Aljosa and Luiten, Jonathon and
               Sekar, Berin Balachandar Gnana and Geiger, Andreas and Leibe, Bastian},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2019}
}
"""
CAR, PEDESTRIAN, IGNORE = 1, 2, 10  # KITTI Masks shows pedestrians
MOTS = {CAR: "car", PEDESTRIAN: "pedestrian", IGNORE: "ignore"}
IGNORE_ID = 10_000  # of ignore regions and crowds, whatever class a line states (MOTSynth: the crowd's own)
INSTANCES_PER_CLASS = 1000

# KITTI-360's classes are those of Cityscapes, with more behind them (kitti360scripts, helpers/labels.py).
KITTI_360 = dict(
    enumerate(
        (
            "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road",
            "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole",
            "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car",
            "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle", "garage", "gate", "stop",
            "smallpole", "lamp", "trash bin", "vending machine", "box", "unknown construction", "unknown vehicle",
            "unknown object",
        )
    )
)  # fmt: skip
COCO = (  # COCO's classes without the numbers that it does not use, as in detectron2; RobMOTS counts them from 1
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator",
    "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
COCO_IGNORE = 100  # an ignore region for all classes; 100 + class for one
ROBMOTS = dict(enumerate(COCO, 1)) | {
    COCO_IGNORE + number: f"ignore {name}".rstrip() for number, name in enumerate(("", *COCO))
}
KITTI_360_LICENSE = "that of the annotations; KITTI-360: CC BY-NC-SA 3.0"
KITTI_360_CITATION = """\
@article{liao2022kitti360,
  title   = {{KITTI-360}: A Novel Dataset and Benchmarks for Urban Scene Understanding in {2D} and {3D}},
  author  = {Liao, Yiyi and Xie, Jun and Geiger, Andreas},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  year    = {2022}
}
"""
