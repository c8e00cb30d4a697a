from .augmentation import Augmentation as Augmentation
from .cut import CutOptions as CutOptions
from .cut import cut_video as cut_video
from .dataset import KittiMasks as KittiMasks
from .loading import load_kitti_arrays as load_kitti_arrays
from .loading import load_kitti_masks as load_kitti_masks
