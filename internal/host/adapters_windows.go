package host

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Gateways returns the default gateways of all adapters.
func Gateways() ([]netip.Addr, error) {
	var out []netip.Addr
	err := eachAdapter(func(a *windows.IpAdapterAddresses) {
		for g := a.FirstGatewayAddress; g != nil; g = g.Next {
			out = appendAddr(out, g.Address.IP())
		}
	})
	return out, err
}

// Resolvers returns the name servers of all adapters.
func Resolvers() ([]netip.Addr, error) {
	var out []netip.Addr
	err := eachAdapter(func(a *windows.IpAdapterAddresses) {
		for s := a.FirstDnsServerAddress; s != nil; s = s.Next {
			out = appendAddr(out, s.Address.IP())
		}
	})
	return out, err
}

func eachAdapter(visit func(*windows.IpAdapterAddresses)) error {
	size := uint32(15 << 10) // what Microsoft's documentation advises to start with
	for {
		buf := make([]byte, size)
		first := (*windows.IpAdapterAddresses)(unsafe.Pointer(&buf[0]))
		err := windows.GetAdaptersAddresses(windows.AF_UNSPEC, windows.GAA_FLAG_INCLUDE_GATEWAYS, 0, first, &size)
		if err == windows.ERROR_BUFFER_OVERFLOW && size > uint32(len(buf)) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list network adapters: %w", err)
		}
		for a := first; a != nil; a = a.Next {
			visit(a)
		}
		return nil
	}
}
