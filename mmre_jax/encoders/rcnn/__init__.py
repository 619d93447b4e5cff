"""Faster R-CNN (Ren et al. 2015) on a feature pyramid (Lin et al. 2017): the parts, and the detector they make."""
