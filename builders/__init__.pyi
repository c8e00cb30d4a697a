from .formats import Annotations as Annotations
from .formats import open_annotations as open_annotations
from .inspection import Inspection as Inspection
from .inspection import inspect_annotations as inspect_annotations
from .recipes import build_kitti_masks as build_kitti_masks
from .recipes import build_natural_sprites as build_natural_sprites
