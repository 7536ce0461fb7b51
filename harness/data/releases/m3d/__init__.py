"""M3D-Cap, M3D-VQA, M3D-Seg and M3D-RefSeg."""
