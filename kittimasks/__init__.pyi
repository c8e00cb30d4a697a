from .augmentation import Augmentation as Augmentation
from .cut import cut_video as cut_video
from .cut_options import CutOptions as CutOptions
from .dataset import KittiMasks as KittiMasks
from .loading import load_kitti_arrays as load_kitti_arrays
from .loading import load_kitti_masks as load_kitti_masks
