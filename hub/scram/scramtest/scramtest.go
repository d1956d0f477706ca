// Package scramtest is the client's side of SCRAM-SHA-256, for tests. It shares
// nothing with the server's.
package scramtest

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
)

// First is client-first-message, without channel binding.
func First(name string) []byte { return []byte("n,," + bare(name)) }

func bare(name string) string {
	return "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(name) + ",r=fyko+d2lbbFgONRv9qkxdawL"
}

// Final is client-final-message, in answer to what the server sent.
func Final(name, password string, server []byte) []byte {
	return Answer("n,,", bare(name), string(server), password)
}

// Answer is client-final-message: header and bare are the parts of the first
// message, server is what came back.
func Answer(header, bare, server, password string) []byte {
	fields := make(map[byte]string)
	for f := range strings.SplitSeq(server, ",") {
		if len(f) > 2 {
			fields[f[0]] = f[2:]
		}
	}
	salt, _ := base64.StdEncoding.DecodeString(fields['s'])
	iterations, _ := strconv.Atoi(fields['i'])
	salted, err := pbkdf2.Key(sha256.New, password, salt, max(iterations, 1), sha256.Size)
	if err != nil {
		return nil
	}
	key := sum(salted, "Client Key")
	stored := sha256.Sum256(key)
	without := "c=" + base64.StdEncoding.EncodeToString([]byte(header)) + ",r=" + fields['r']
	for i, b := range sum(stored[:], bare+","+server+","+without) {
		key[i] ^= b
	}
	return []byte(without + ",p=" + base64.StdEncoding.EncodeToString(key))
}

func sum(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
