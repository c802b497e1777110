fresh_host
namespace red
namespace blue
