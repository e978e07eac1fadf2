package selftest

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// translate makes, in the calling thread's namespace, the table that the site
// has of its own:
//
//	table ip site {
//		chain prerouting { type nat hook prerouting priority dstnat; ip daddr 198.51.100.1 tcp dport 80 dnat to 10.88.0.2:41000; }
//		chain input { type filter hook input priority filter; ct state established,related accept; }
//		chain forward { type filter hook forward priority filter; ct state established,related accept; }
//	}
func translate(f *family, to netip.AddrPort) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Name: "site", Family: nftables.TableFamilyIPv4}
	number, offset := uint32(unix.NFPROTO_IPV4), uint32(16)
	if f.v6 {
		table.Family, number, offset = nftables.TableFamilyIPv6, unix.NFPROTO_IPV6, 24
	}
	c.AddTable(table)
	own := f.host.AsSlice()
	c.AddRule(&nftables.Rule{
		Table: table,
		Chain: c.AddChain(&nftables.Chain{
			Name: "prerouting", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
		}),
		Exprs: []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(len(own))},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: own},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, published)},
			&expr.Immediate{Register: 1, Data: to.Addr().AsSlice()},
			&expr.Immediate{Register: 2, Data: binary.BigEndian.AppendUint16(nil, to.Port())},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: number, RegAddrMin: 1, RegProtoMin: 2, Specified: true},
		},
	})
	for name, hook := range map[string]*nftables.ChainHook{"input": nftables.ChainHookInput, "forward": nftables.ChainHookForward} {
		c.AddRule(&nftables.Rule{
			Table: table,
			Chain: c.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter}),
			Exprs: []expr.Any{
				&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
				&expr.Bitwise{
					SourceRegister: 1, DestRegister: 1, Len: 4, Xor: make([]byte, 4),
					Mask: binary.NativeEndian.AppendUint32(nil, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED),
				},
				&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
				&expr.Verdict{Kind: expr.VerdictAccept},
			},
		})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("publishing a port with nftables: %w", err)
	}
	return nil
}
