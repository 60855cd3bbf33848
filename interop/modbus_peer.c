/* The other end of interop/modbus_peers.py: libmodbus as a server.
 * modbus_peer tcp | modbus_peer DEVICE-OF-A-LINE
 * Unit 3, a hundred cells in each table: registers hold their address, odd coils and every third contact are set. */
#include <arpa/inet.h>
#include <modbus.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define CELLS 100
#define UNIT 3

static void answer(modbus_t *line, modbus_mapping_t *cells)
{
    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
    int length;

    while ((length = modbus_receive(line, request)) >= 0)
        if (length > 0)
            modbus_reply(line, request, length, cells);
}

int main(int count, char **arguments)
{
    modbus_mapping_t *cells = modbus_mapping_new(CELLS, CELLS, CELLS, CELLS);
    int is_tcp = count == 2 && strcmp(arguments[1], "tcp") == 0;
    modbus_t *line;

    if (count != 2 || cells == NULL)
        return 2;
    line = is_tcp ? modbus_new_tcp("127.0.0.1", 0) : modbus_new_rtu(arguments[1], 19200, 'E', 8, 1);
    if (line == NULL)
        return 2;
    modbus_set_slave(line, UNIT);
    for (int at = 0; at < CELLS; at++) {
        cells->tab_registers[at] = cells->tab_input_registers[at] = at;
        cells->tab_bits[at] = at % 2;
        cells->tab_input_bits[at] = at % 3 == 0;
    }
    if (is_tcp) {
        struct sockaddr_in where;
        socklen_t size = sizeof where;
        int listening = modbus_tcp_listen(line, 1);
        if (listening < 0 || getsockname(listening, (struct sockaddr *)&where, &size) != 0)
            return 1;
        printf("%d\n", ntohs(where.sin_port));
        fflush(stdout);
        while (modbus_tcp_accept(line, &listening) >= 0) {
            answer(line, cells);
            modbus_close(line);
        }
    } else {
        if (modbus_connect(line) != 0)
            return 1;
        printf("0\n");
        fflush(stdout);
        for (;;)
            answer(line, cells);
    }
    return 0;
}
