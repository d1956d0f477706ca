package packet

import "testing"

var benchPublish = Publish{Topic: []byte("zigbee2mqtt/living room/lamp"), QoS: AtLeastOnce, PacketID: 7,
	Payload: []byte(`{"brightness":254,"color_mode":"color_temp","color_temp":370,"linkquality":120,"state":"ON"}`)}

func BenchmarkDecodePublish(b *testing.B) {
	withProperties := benchPublish
	withProperties.HasExpiry, withProperties.Expiry = true, 60
	withProperties.Properties = (&Forwarded{ContentType: "application/json", ResponseTopic: "home/answer",
		UserProperties: []UserProperty{{"source", "sensor"}}}).Append(nil)
	for _, bb := range []struct {
		name string
		v    Version
		p    Publish
	}{{"3.1.1", V311, benchPublish}, {"5.0", V5, benchPublish}, {"properties", V5, withProperties}} {
		b.Run(bb.name, func(b *testing.B) {
			encoded := AppendPublish(nil, bb.v, &bb.p)
			b.SetBytes(int64(len(encoded)))
			b.ReportAllocs()
			var p Publish
			for b.Loop() {
				first, body, _, err := Split(encoded, 1<<20)
				if err == nil {
					err = DecodePublish(bb.v, first, body, &p)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendPublish(b *testing.B) {
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendPublish(buf[:0], V5, &benchPublish)
	}
}

func BenchmarkReaddress(b *testing.B) {
	encoded := AppendPublish(nil, V5, &benchPublish)
	for b.Loop() {
		Readdress(encoded, 9, true)
	}
}
