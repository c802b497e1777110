fresh_host
namespace shop
server shop 80 "the shop is open"
