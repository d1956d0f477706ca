package bench

import (
	"context"
	"errors"
	"fmt"

	"lar.home/mqtt/packet"
)

// Furnish connects n devices to a hub that announce themselves as Home
// Assistant's discovery has it, half of them lamps and half sensors, and each
// say a state. They stay connected until leave.
func Furnish(ctx context.Context, t Target, n int) (leave func(), err error) {
	conns := make([]*conn, n)
	leave = func() { release(conns) }
	err = each(n, 8, func(i int) error {
		c, err := dial(ctx, t, packet.Connect{CleanStart: true, ClientID: fmt.Sprintf("%s-f%d", prefix, i)}, littleRoom)
		if err != nil {
			return err
		}
		conns[i] = c
		topic := fmt.Sprintf("house/device%03d", i)
		if err := c.subscribe(topic+"/set", packet.AtLeastOnce); err != nil {
			return err
		}
		kind, more, state := "light", fmt.Sprintf(`,"command_topic":"%s/set"`, topic), "ON"
		if i%2 == 1 {
			kind, more, state = "sensor", `,"device_class":"temperature","unit_of_measurement":"°C"`, "21.5"
		}
		config := fmt.Sprintf(`{"name":null,"unique_id":"device%03d","state_topic":"%s/state"%s,`+
			`"device":{"identifiers":["device%03[1]d"],"name":"Device %[1]d","manufacturer":"Lar","model":"Bench","suggested_area":"%[4]s"}}`,
			i, topic, more, rooms[i%len(rooms)])
		for _, m := range [][2]string{{fmt.Sprintf("homeassistant/%s/device%03d/config", kind, i), config}, {topic + "/state", state}} {
			p, err := c.ask(&packet.Publish{QoS: packet.AtLeastOnce, Retain: true, PacketID: 2, Topic: []byte(m[0]), Payload: []byte(m[1])})
			if err != nil {
				return err
			}
			if p.Type() != packet.PUBACK {
				return errors.New("an announcement is not acknowledged")
			}
		}
		return nil
	})
	return leave, err
}
