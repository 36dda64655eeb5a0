//go:build linux

package mdns_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// runCapture prints two numbers each time it is asked: how many mDNS packets with
// a word in them it has seen on an interface, and how many without.
func runCapture(config string) error {
	name, word, _ := strings.Cut(config, " ")
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	const everything = 0x0300 // ETH_P_ALL in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, everything)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: ifi.Index}); err != nil {
		return err
	}
	fmt.Println("ready")
	line := make([]byte, 64)
	packet := make([]byte, 1<<16)
	with, without := 0, 0
	for {
		if !asked(line) {
			return nil
		}
		for {
			n, _, err := unix.Recvfrom(fd, packet, 0)
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err != nil {
				return err
			}
			switch {
			case !isMDNS(packet[:n]):
			case bytes.Contains(packet[:n], []byte(word)):
				with++
			default:
				without++
			}
		}
		fmt.Println(with, without)
	}
}

// asked waits for a line; false at the end of the input.
func asked(line []byte) bool {
	_, err := os.Stdin.Read(line)
	return err == nil
}

// isMDNS looks for UDP over version 4 to or from port 5353.
func isMDNS(p []byte) bool {
	if len(p) < 28 || p[0]>>4 != 4 || p[9] != 17 {
		return false
	}
	udp := p[int(p[0]&15)*4:]
	return len(udp) >= 4 && (int(udp[0])<<8|int(udp[1]) == 5353 || int(udp[2])<<8|int(udp[3]) == 5353)
}

// runSend multicasts a packet on an interface each time it is told to, and
// says how many answers came within a moment; told to ask, it waits for one.
func runSend(config string) error {
	name, encoded, _ := strings.Cut(config, " ")
	packet, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return err
	}
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	from := &net.UDPAddr{}
	if ifi.Flags&net.FlagLoopback != 0 {
		from.IP = net.IPv4(127, 0, 0, 1)
	}
	conn, err := net.ListenUDP("udp4", from)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	p4 := ipv4.NewPacketConn(conn)
	if err := errors.Join(p4.SetMulticastInterface(ifi), p4.SetMulticastTTL(255), p4.SetMulticastLoopback(true)); err != nil {
		return err
	}
	fmt.Println("ready")
	line := make([]byte, 64)
	for {
		if !asked(line) {
			return nil
		}
		if _, err := conn.WriteToUDP(packet, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}); err != nil {
			return err
		}
		answers := 0
		buf := make([]byte, 1<<16)
		moment := 300 * time.Millisecond
		if strings.HasPrefix(string(line), "ask") {
			moment = patience
		}
		_ = conn.SetReadDeadline(time.Now().Add(moment))
		for {
			if _, _, err := conn.ReadFromUDP(buf); err != nil {
				break
			}
			_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			answers++
		}
		fmt.Println(answers)
	}
}
