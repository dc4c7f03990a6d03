package vault

import "unsafe"

// addressOf is where memory is mapped.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
