// Command interop is a second, independent reading of the Lumera ALTS
// transport. It was written from the contract alone and shares no code with
// the implementations it is run against. Section signs in comments ("§3.2")
// refer to that contract, secure_rpc.md.
package main

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"
)

const usage = `usage: interop vectors FILE
       interop listen --key HEX --kind KIND [options]
       interop dial   --key HEX --kind KIND --port P --expect ACCOUNT [options]
KIND is eth_secp256k1 or secp256k1; "interop listen -h" lists the options.`

func main() {
	if len(os.Args) < 2 {
		wrongUsage(usage)
	}
	command, args := os.Args[1], os.Args[2:]
	switch command {
	case "vectors":
		if len(args) != 1 {
			wrongUsage(usage)
		}
		os.Exit(vectorsCommand(args[0]))
	case "listen":
		listenCommand(args)
	case "dial":
		dialCommand(args)
	default:
		wrongUsage(usage)
	}
}

func listenCommand(args []string) {
	flags, n, finish := nodeFlags("listen")
	connections := flags.Int("connections", 1, "serve `N` connections")
	flags.BoolVar(&n.faults.speakFirst, "speak-first", false,
		"send the record \"hello\" in the same write as the handshake message")
	finish(args)
	if err := n.listen(*connections, printLine); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func dialCommand(args []string) {
	flags, n, finish := nodeFlags("dial")
	port := flags.Int("port", 0, "connect to 127.0.0.1:`P`")
	expect := flags.String("expect", "", "the `ACCOUNT` the server must be")
	size := flags.Int("bytes", 0, "send `N` bytes and wait for their echo")
	greeted := flags.Bool("greeted", false, "the server speaks first: expect \"hello\" before the echo")
	finish(args)
	if *port < 1 || *port > 65535 || *expect == "" || *size < 0 {
		wrongUsage("dial needs --port, --expect and no negative --bytes")
	}
	printLine(n.dial(*port, *expect, *size, *greeted))
}

// nodeFlags declares what both ends understand. The returned function parses
// the arguments, fills the node and ends the program on wrong usage.
func nodeFlags(name string) (*flag.FlagSet, *node, func([]string)) {
	n := &node{refused: map[string]bool{}}
	f := flag.NewFlagSet(name, flag.ExitOnError)
	key := f.String("key", "", "account private key, 32 bytes in `HEX`")
	kind := f.String("kind", "", "`KIND` of the key: eth_secp256k1 or secp256k1")
	peerType := f.Int("type", 2, "peer type `T` in the info block (§2)")
	f.IntVar(&n.frame, "frame", defaultFrame, "largest frame sent, `BYTES` in all")
	f.IntVar(&n.piece, "send-split", 0, "write to the socket in pieces of `K` bytes")
	f.DurationVar(&n.limit, "deadline", 20*time.Second, "`LIMIT` on each connection and each wait for one")
	f.Func("refuse", "refuse this `ACCOUNT` as if the chain did not know it (repeatable)", func(s string) error {
		n.refused[s] = true
		return nil
	})
	n.faults.declare(f)
	return f, n, func(args []string) {
		_ = f.Parse(args) // ExitOnError: ends the program with status 2
		secret, err := hex.DecodeString(*key)
		if err == nil {
			n.account, err = newAccount(*kind, secret)
		}
		if err == nil {
			err = n.faults.check()
		}
		switch {
		case err != nil:
			wrongUsage(err.Error())
		case f.NArg() != 0:
			wrongUsage("unexpected argument " + f.Arg(0))
		case n.frame <= overhead || n.frame > maxLength+4:
			wrongUsage(fmt.Sprintf("--frame must be in %d..%d", overhead+1, maxLength+4))
		case n.piece < 0 || n.limit <= 0:
			wrongUsage("--send-split and --deadline must not be negative")
		}
		n.peerType = int32(*peerType)
	}
}

func wrongUsage(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(2)
}

var printing sync.Mutex

// printLine writes one line of JSON; connections end in parallel.
func printLine(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err) // only our own plain structs come here
	}
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(string(line))
}
