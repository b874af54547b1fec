//! Disk images behind block devices: raw and qcow2.
