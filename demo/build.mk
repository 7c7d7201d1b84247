# The demo's programs: every demo/src/NAME.bpf.c becomes build/demo/NAME.bpf.o. Included by the Makefile.
DEMO_SOURCES := $(wildcard demo/src/*.bpf.c)
DEMO_OBJECTS := $(DEMO_SOURCES:demo/src/%.bpf.c=build/demo/%.bpf.o)
DEMO_CLANG ?= clang
# clang for the bpf target does not know where Debian keeps <asm/types.h>.
DEMO_CFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -I/usr/include/$(shell uname -m)-linux-gnu

build/demo/%.bpf.o: demo/src/%.bpf.c $(wildcard demo/src/*.h)
	@mkdir -p $(@D)
	$(DEMO_CLANG) $(DEMO_CFLAGS) -c $< -o $@
