package main

const (
	prefix  = "lumera" // §2
	charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
)

// bech32Address spells 20 address bytes as an account (BIP 173, §2).
func bech32Address(raw []byte) string {
	values := fiveBitGroups(raw)
	sum := checksum(values)
	out := []byte(prefix + "1")
	for _, v := range append(values, sum[:]...) {
		out = append(out, charset[v])
	}
	return string(out)
}

func fiveBitGroups(raw []byte) []byte {
	var out []byte
	var pending, bits uint
	for _, b := range raw {
		pending, bits = pending<<8|uint(b), bits+8
		for bits >= 5 {
			bits -= 5
			out = append(out, byte(pending>>bits&31))
		}
	}
	if bits > 0 {
		out = append(out, byte(pending<<(5-bits)&31))
	}
	return out
}

func checksum(values []byte) (sum [6]byte) {
	state := uint32(1)
	feed := func(v byte) {
		top := state >> 25
		state = state&0x1ffffff<<5 ^ uint32(v)
		for i, g := range [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				state ^= g
			}
		}
	}
	for _, c := range []byte(prefix) {
		feed(c >> 5)
	}
	feed(0)
	for _, c := range []byte(prefix) {
		feed(c & 31)
	}
	for _, v := range values {
		feed(v)
	}
	for range sum {
		feed(0)
	}
	state ^= 1
	for i := range sum {
		sum[i] = byte(state >> (5 * (5 - i)) & 31)
	}
	return sum
}
