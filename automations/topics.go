package automations

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"lar.home/mqtt"
)

// MaxTopics is of how many topics a rule remembers what was there before.
// Beyond it the one that was met first is forgotten.
const MaxTopics = 1000

// A topicMemory is what a trigger remembers of a topic: not what was there,
// but enough to tell whether the next is the same.
type topicMemory struct {
	value   *uint64 // at the trigger's path
	payload *uint64 // as a whole
}

// topicMemories are those of a trigger.
type topicMemories struct {
	by    map[string]topicMemory
	order []string        // as they were met
	found map[string]bool // brought as retained since the start
}

type topicRecord struct {
	Format  int     `json:"v"`
	Topic   string  `json:"topic"`
	Value   *uint64 `json:"value,omitempty"`
	Payload *uint64 `json:"payload,omitempty"`
}

// What the On of a MessageTrigger can be.
const (
	Received = "received"
	Changed  = "changed"
)

// remembers tells whether a trigger remembers what was on a topic.
func (m *MessageTrigger) remembers() bool { return m.On == Changed || m.Settle != 0 }

// retained tells whether a message counts that was found, not brought.
func (m *MessageTrigger) retained() bool {
	if m.Retained != nil {
		return *m.Retained
	}
	return m.On == Changed
}

// place is the path whose part the trigger's value stands for.
func (m *MessageTrigger) place() string {
	if m.Path == "" && m.Payload != nil {
		return m.Payload.Path
	}
	return m.Path
}

// asked is the comparison of the payload, or of the part at the path.
func (m *MessageTrigger) asked() *Compare {
	if m.Payload == nil || m.Path == "" || m.Payload.Path != "" {
		return m.Payload
	}
	c := *m.Payload
	c.Path = m.Path
	return &c
}

// counts tells whether a message is news to a trigger, and remembers it.
func (e *Engine) counts(t *mqtt.Turn, f *ref, m *mqtt.Message, parts parts) bool {
	trigger, memory := f.def.Triggers[f.trigger].Message, &f.rule.memory[f.trigger]
	if m.Retained && trigger.retained() && trigger.On != Changed {
		if memory.topics == nil {
			memory.topics = &topicMemories{}
		}
		if memory.topics.found[m.Topic] {
			return false
		}
		if memory.topics.found == nil || len(memory.topics.found) >= MaxTopics {
			memory.topics.found = map[string]bool{}
		}
		memory.topics.found[m.Topic] = true
	}
	if !trigger.remembers() {
		return !m.Retained || trigger.retained()
	}
	value, there := string(m.Payload), true
	if trigger.place() != "" {
		value, there = parts[trigger.place()]
	}
	if memory.topics == nil {
		memory.topics = &topicMemories{}
	}
	was, known := memory.topics.by[m.Topic]
	is, news := was, !m.Retained || trigger.retained()
	if trigger.On == Changed {
		if there {
			h := hashOf("", []byte(value))
			is.value = &h
		}
		news = news && there && was.value != nil && *was.value != *is.value
	}
	if trigger.Settle != 0 {
		h := hashOf("", m.Payload)
		if !m.Retained && m.ClientID != "" && t.Now.Run-m.Connected <= time.Duration(trigger.Settle) && was.payload != nil && *was.payload == h {
			news = false
		}
		is.payload = &h
	}
	if !known || !sameHash(was.value, is.value) || !sameHash(was.payload, is.payload) {
		_, number := parseNumber(value)
		e.rememberTopic(t, f.rule, f.trigger, m.Topic, is, number && !m.Retain && !m.Retained)
	}
	return news
}

func sameHash(a, b *uint64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// rememberTopic keeps what is on a topic now: with the turn, or lazily what
// changes as often as a measured number does, when nothing else is written.
func (e *Engine) rememberTopic(t *mqtt.Turn, r *rule, trigger int, topic string, is topicMemory, lazily bool) {
	m := r.memory[trigger].topics
	if m.by == nil {
		m.by = map[string]topicMemory{}
	}
	if _, known := m.by[topic]; !known {
		total := 0
		for i := range r.memory {
			if of := r.memory[i].topics; of != nil {
				total += len(of.order)
			}
		}
		if total >= MaxTopics && len(m.order) > 0 {
			t.Lazy(topicKey(r, trigger, m.order[0]), nil)
			delete(m.by, m.order[0])
			m.order = m.order[1:]
		} else if total >= MaxTopics {
			return
		}
		m.order = append(m.order, topic)
	}
	m.by[topic] = is
	k, v := topicKey(r, trigger, topic), encode(&topicRecord{Format: format, Topic: topic, Value: is.value, Payload: is.payload})
	if e.ready() != nil || lazily && len(t.Writes()) == 0 {
		t.Lazy(k, v)
		return
	}
	e.write(t, k, v)
}

// topicKey names the record by what the trigger says, not by its place among
// others, which a save may change.
func topicKey(r *rule, trigger int, topic string) []byte {
	more := binary.BigEndian.AppendUint64(nil, hashOfTrigger(&r.def.Triggers[trigger]))
	return key(recTopic, r.id, binary.BigEndian.AppendUint64(more, hashOf(topic, nil))...)
}

func hashOfTrigger(t *Trigger) uint64 { return hashOf("", encode(t)) }

// forgetTopics drops what a trigger remembers of topics.
func forgetTopics(t *mqtt.Turn, r *rule, def *Rule, trigger int, m *topicMemories) {
	if m == nil {
		return
	}
	of := &rule{id: r.id, def: def}
	for _, topic := range m.order {
		t.Write(topicKey(of, trigger, topic), nil)
	}
}

// restoreTopics gives a trigger back what it remembers.
func (m *memory) restoreTopics(records []*topicRecord) {
	slices.SortFunc(records, func(a, b *topicRecord) int { return strings.Compare(a.Topic, b.Topic) })
	for _, r := range records {
		if m.topics == nil {
			m.topics = &topicMemories{by: map[string]topicMemory{}}
		}
		m.topics.by[r.Topic] = topicMemory{r.Value, r.Payload}
		m.topics.order = append(m.topics.order, r.Topic)
	}
}
